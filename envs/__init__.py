"""The combat world: contracts, rules, rewards, and Gymnasium environments.

`import envs` stays light: it registers the Gymnasium ids by string, as soon as Gymnasium is
imported, and the compiled simulation loads when an environment is made.
"""

from __future__ import annotations

from envs.registration import register_soon

__version__ = "0.5.0"

register_soon()
