"""The combat world: contracts, rules, rewards, and Gymnasium environments.

`import envs` stays light: it registers ids by string if Gymnasium is there already (otherwise
Gymnasium's plugin hook does, when it is imported), and the compiled simulation loads when an
environment is made.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0"

if "gymnasium" in sys.modules:
    from envs.registration import register

    register()
