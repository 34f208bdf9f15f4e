"""A parameter set measured against references, beside other methods: a page with figures."""

from ectjax.fitting.report.page import write_report

__all__ = ["write_report"]
