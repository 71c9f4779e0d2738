"""A repository, planned and written."""

from .plan import RepositoryPlan, plan_repository
from .write import requirements, write_planned, write_repository

__all__ = ["RepositoryPlan", "plan_repository", "requirements", "write_planned", "write_repository"]
