"""What may be deleted, and its deletion: `ganpipe gc`."""

from ganpipe.collection.collect import Plan, collect, plan
from ganpipe.collection.items import KINDS, Item, Rules, kinds, seconds
from ganpipe.collection.locks import using_cache

__all__ = ["KINDS", "Item", "Plan", "Rules", "collect", "kinds", "plan", "seconds", "using_cache"]
