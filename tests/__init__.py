"""A package, so that another distribution's `tests` never stands for this one."""
