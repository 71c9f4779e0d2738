"""Blocks on a Ray cluster: decoded wherever there are cores, run by actors that hold the model, handed back here."""

from .connection import LOCAL
from .job import ClusterJob
from .records import records_of_cluster

__all__ = ["LOCAL", "ClusterJob", "records_of_cluster"]
