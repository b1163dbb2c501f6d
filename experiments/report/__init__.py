"""The report of a run: one dictionary, written as JSON for programs and as HTML and Markdown for people."""

from experiments.report.data import build_report, failed_entry, model_entry
from experiments.report.page import write_reports

__all__ = ["build_report", "failed_entry", "model_entry", "write_reports"]
