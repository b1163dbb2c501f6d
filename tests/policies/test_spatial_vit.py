"""The spatial mind: its layers, the units it finds in a picture, its maps, its file."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from envs.configuration import ConfigError, load_dataclass
from envs.contracts.grid import G_ALLIES, G_ENEMIES, G_ME, G_WALKABLE
from policies.attention import Encoder, EncoderBlock
from policies.graphs import fp16_graph, fp32_graph
from policies.inference import TORCH_TYPES
from policies.profiles import profile_values
from policies.spatial_units import find_units
from policies.spatial_vit import ILLEGAL, STAY, SpatialViT, SpatialViTConfig

SMALL = SpatialViTConfig(width=16, depth=2, heads=2, unit_depth=1, view=2, walk=3)


def network(config: SpatialViTConfig = SMALL) -> SpatialViT:
    torch.manual_seed(0)
    return SpatialViT(config)


def picture(own: list[tuple[int, int]], enemies: list[tuple[int, int]]) -> torch.Tensor:
    """A grid with oneself in the middle and units at cells (y, x) on open ground."""
    grid = torch.zeros(1, 12, 32, 32, dtype=torch.uint8)
    grid[:, G_ME, 16, 16] = 200
    grid[:, G_WALKABLE] = 255
    for channel, cells in ((G_ALLIES, own), (G_ENEMIES, enemies)):
        for y, x in cells:
            grid[0, channel, y, x] += 51
    return grid


def test_full_profile_is_a_tiny_vision_transformer() -> None:
    values, source = profile_values("spatial_vit", "full")
    full = SpatialViT(load_dataclass(SpatialViTConfig, values["model"], f"{source}: model"))
    # Patches of 8 x 8 cells x 12 channels, 16 of them in 32 x 32 cells, and a class token.
    assert (full.patches.in_features, full.patches.out_features) == (768, 192)
    assert full.positions.shape == (1, 17, 192) and full.class_token.shape == (1, 1, 192)
    assert len(full.encoder.blocks) == 12
    for block in full.encoder.blocks:
        assert isinstance(block, EncoderBlock) and block.heads == 3
        assert {name: tuple(p.shape) for name, p in block.named_parameters() if name.endswith("weight")} == {
            "norm_attention.weight": (192,),
            "qkv.weight": (3 * 192, 192),
            "project.weight": (192, 192),
            "norm_mlp.weight": (192,),
            "up.weight": (768, 192),
            "down.weight": (192, 768),
        }
    # Per block: 192 x 576 + 576, 192 x 192 + 192, 2 x 192 x 768 + 768 + 192, and two norms of 384.
    per_block = 111_168 + 37_056 + 295_872 + 768
    assert sum(p.numel() for p in full.encoder.parameters()) == 12 * per_block + 2 * 192


def test_patches_are_cut_row_by_row_with_channels_first() -> None:
    net = network()
    values = torch.arange(12 * 32 * 32).view(1, 12, 32, 32)
    cut = net.cut(values)
    assert cut.shape == (1, 16, 768)
    patch = values[0, :, 8:16, 24:32]  # second row of patches, last column: number 7
    assert torch.equal(cut[0, 7], patch.reshape(-1))


def test_units_are_found_oneself_first_and_ties_by_the_lower_cell() -> None:
    cell, there = find_units(picture([(3, 4), (20, 1)], [(16, 20), (2, 2), (16, 20)]))
    assert cell[0, :3].tolist() == [16 * 32 + 16, 3 * 32 + 4, 20 * 32 + 1]
    assert cell[0, 5:7].tolist() == [16 * 32 + 20, 2 * 32 + 2]  # two in one cell come first
    assert there[0].tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 3


def test_a_displacement_leads_to_its_cell_and_nothing_beyond_the_picture_counts() -> None:
    decoder = network().units
    chances = torch.zeros(1, 10, 49)
    chances[0, 0, 3 * 7 + 3] = 0.5  # stays
    chances[0, 0, 6 * 7 + 0] = 0.25  # three rows up, three columns back
    chances[0, 1, 3 * 7 + 6] = 1.0  # three columns on, out of the picture
    y, x = torch.zeros(1, 10, dtype=torch.long), torch.full((1, 10), 31)
    y[0, 0] = 9
    maps = decoder.spread(chances, y, x)
    assert maps.shape == (1, 10, 32, 32)
    assert maps[0, 0, 9, 31] == 0.5 and maps[0, 0, 12, 28] == 0.25 and maps[0, 0].sum() == 0.75
    assert maps[0, 1:].sum() == 0


def test_crops_are_the_cells_around_a_unit() -> None:
    decoder = network().units
    grid = torch.rand(1, 12, 32, 32)
    y, x = torch.full((1, 10), 16), torch.full((1, 10), 9)
    y[0, 3], x[0, 3] = 0, 31
    crops = decoder.crops(grid, y, x).view(10, 12, 5, 5)
    assert torch.equal(crops[0], grid[0, :, 14:19, 7:12])
    assert torch.equal(crops[3, :, 2:, :3], grid[0, :, :3, 29:])
    assert crops[3, :, :2].abs().sum() == 0 and crops[3, :, :, 3:].abs().sum() == 0


def test_damage_lies_near_the_own_team_and_enemies_near_enemies() -> None:
    net = network().eval()
    with torch.no_grad():
        damage, occupancy, _ = net(picture([(5, 5)], [(25, 20)]))
        elsewhere = net.units.elsewhere.exp()
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")

    def near(row: int, column: int) -> torch.Tensor:
        return torch.maximum((y - row).abs(), (x - column).abs()) <= SMALL.walk

    own, foe = near(16, 16) | near(5, 5), near(25, 20)
    assert torch.allclose(damage[0][~own], elsewhere[0]) and (damage[0][own] > elsewhere[0]).all()
    assert torch.allclose(occupancy[0][~foe], elsewhere[1], atol=1e-7)
    assert (occupancy[0][foe] > 2 * elsewhere[1]).any() and (occupancy <= 1).all()


def test_chances_of_enemies_in_one_cell_join() -> None:
    # Two enemies that stay for sure with chance 1/2 each: somebody stands there with 1 - 1/4.
    net = network()
    decoder = net.units
    with torch.no_grad():
        for layer in (decoder.move, decoder.share):
            layer.weight.zero_()
        decoder.move.bias.fill_(-100.0)
        decoder.move.bias[3 * 7 + 4] = 0.0  # everybody goes one column on
        decoder.share.bias.copy_(torch.tensor([0.0, 0.0]))
        decoder.elsewhere.fill_(-30.0)
        grid = picture([], [(8, 8), (8, 9)])
        grid[0, G_ENEMIES, 8, 9] = 51
        damage, occupancy, _ = net.eval()(grid)
    assert occupancy[0, 8, 9].item() == pytest.approx(0.5, abs=1e-6)
    assert occupancy[0, 8, 10].item() == pytest.approx(0.5, abs=1e-6)
    assert damage[0, 16, 17].item() == pytest.approx(np.log(2.0), abs=1e-6)  # softplus(0)
    both = 1.0 - (
        1.0 - decoder.spread(torch.full((1, 10, 49), 0.5), *(torch.full((1, 10), 8),) * 2)[0, :2]
    ).prod(0)
    assert both[8, 8].item() == pytest.approx(0.75)


def test_nobody_steps_on_blocked_cells_but_one_may_stay() -> None:
    net = network().eval()
    grid = picture([], [(16, 18)])
    grid[0, G_WALKABLE, 13:20, 13:20] = 0
    grid[0, G_WALKABLE, 13, 19] = 255
    with torch.no_grad():
        logits = net(grid)[2][0]
        choice = net.inference_form()(grid)[3]
    legal = [0 * 7 + 6, STAY]
    assert torch.nonzero(logits > ILLEGAL).flatten().tolist() == legal
    assert choice.item() in legal


def test_ports_are_what_the_served_form_takes_and_gives() -> None:
    net = network()
    inputs = net.example_inputs(3)
    outputs = net.inference_form()(*inputs)
    signature = net.signature()
    for ports, tensors in ((signature.inputs, inputs), (signature.outputs, outputs)):
        assert [(3, *port.shape) for port in ports] == [tuple(one.shape) for one in tensors]
        assert [TORCH_TYPES[port.dtype] for port in ports] == [one.dtype for one in tensors]
    assert torch.equal(outputs[3], outputs[2].argmax(dim=1))
    manifest = net.manifest()
    assert manifest["model_type"] == "spatial_vit" and manifest["config"]["patch"] == 8
    assert manifest["parameters"] == sum(p.numel() for p in net.parameters())


def test_an_empty_picture_gives_finite_answers() -> None:
    net = network().eval()
    with torch.no_grad():
        outputs = net.inference_form()(torch.zeros(2, 12, 32, 32, dtype=torch.uint8))
    assert all(torch.isfinite(one).all() for one in outputs)
    assert outputs[3].tolist() == [STAY, STAY]


def test_the_order_of_equal_units_does_not_matter() -> None:
    # Turned upside down, the same units are found in another order; so the maps must not depend on it.
    decoder = network().units.eval()
    tokens, grid = torch.rand(1, 17, 16), picture([], [(5, 5), (9, 20), (25, 7)])
    cell, there = find_units(grid)
    swapped = cell.clone()
    swapped[0, 5], swapped[0, 7] = cell[0, 7], cell[0, 5]
    values = grid.float() / 255
    with torch.no_grad():
        one = decoder(tokens, values, cell, there)
        other = decoder(tokens, values, swapped, there)
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_activations_give_the_same_gradients(dropout: float) -> None:
    def gradients(recompute: bool) -> list[torch.Tensor]:
        torch.manual_seed(3)
        encoder = Encoder(8, 3, 2, 16, dropout, recompute=recompute)
        x = torch.randn(4, 5, 8, requires_grad=True)
        torch.manual_seed(5)
        encoder(x).square().sum().backward()
        assert x.grad is not None
        return [x.grad, *(p.grad for p in encoder.parameters() if p.grad is not None)]

    kept, again = gradients(False), gradients(True)
    assert len(kept) == len(again) > 30
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_the_whole_network_recomputes_alike() -> None:
    def gradients(recompute: bool) -> list[torch.Tensor]:
        config = load_dataclass(
            SpatialViTConfig,
            {"width": 16, "depth": 2, "heads": 2, "view": 2, "dropout": 0.2, "recompute": recompute},
            "test",
        )
        net = network(config).train()
        torch.manual_seed(1)
        damage, occupancy, steps = net(net.example_inputs(2)[0])
        (damage.sum() + occupancy.sum() + steps[:, STAY].sum()).backward()
        return [p.grad for p in net.parameters() if p.grad is not None]

    kept, again = gradients(False), gradients(True)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_every_parameter_learns() -> None:
    net = network().train()
    damage, occupancy, steps = net(net.example_inputs(2)[0])
    (damage.square().sum() + occupancy.square().sum() + torch.log_softmax(steps, 1)[:, 0].sum()).backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_works_in_half_precision() -> None:
    net = network().train()
    with torch.autocast("cpu", torch.bfloat16):
        damage, occupancy, steps = net(net.example_inputs(2)[0])
    assert damage.dtype == occupancy.dtype == torch.float32
    loss = damage.sum() + occupancy.sum() + steps.float()[:, STAY].sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_larger_grids_and_patches_fit() -> None:
    net = network(SpatialViTConfig(width=16, depth=1, heads=2, unit_depth=1, view=1, walk=2, grid_size=64))
    assert isinstance(net.patches, nn.Linear) and net.num_patches == 64
    damage, occupancy, steps = net(torch.zeros(1, 12, 64, 64, dtype=torch.uint8))
    assert damage.shape == occupancy.shape == (1, 64, 64) and steps.shape == (1, 49)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"patch": 7}, "does not divide"), ({"width": 16, "heads": 3}, "do not divide"), ({"view": 0}, "view")],
)
def test_shapes_that_cannot_be(changes: dict[str, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_dataclass(SpatialViTConfig, changes, "test")


def test_the_file_says_what_torch_says() -> None:
    values, source = profile_values("spatial_vit", "demo")
    net = network(load_dataclass(SpatialViTConfig, values["model"], f"{source}: model")).eval()
    whole = fp32_graph(net)
    for proto, tolerance in ((whole, 1e-5), (fp16_graph(whole, net.signature().whole), 1e-2)):
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        for batch in (1, 3, 64):
            (grid,) = net.example_inputs(batch)
            with torch.no_grad():
                wanted = net.inference_form()(grid)
            found = session.run(None, {"grid": grid.numpy()})
            for name, ours, theirs in zip(net.signature().output_names, wanted, found, strict=True):
                scale = max(1.0, float(ours.abs().max())) if name != "best_cell" else 1.0
                if name == "cell":
                    assert (ours.numpy() == theirs).mean() >= 0.95
                else:
                    legal = ours > ILLEGAL
                    assert np.abs(ours.numpy() - theirs)[legal.numpy()].max() <= tolerance * scale, name
