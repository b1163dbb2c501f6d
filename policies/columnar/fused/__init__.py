"""Updates without autograd: forward and backward of dense networks written out, losses as one compiled pass.

At a batch of 256 a small network's arithmetic takes a quarter of a millisecond, and torch's bookkeeping as
long again. On a CPU, in fp32 and without dropout, learners take this way; everywhere else the same loss goes
through autograd. `tests/policies/columnar/fused` holds both to the same gradients.
"""
