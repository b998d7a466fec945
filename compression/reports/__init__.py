"""A result told to people: an HTML report, a model card, and what reproduces it. Data in, text out."""

from compression.reports.card import model_card
from compression.reports.page import report_html
from compression.reports.snippets import command_lines, python_snippet, runtime_snippet
from compression.reports.subject import Subject, subject_of

__all__ = [
    "Subject", "command_lines", "model_card", "python_snippet", "report_html", "runtime_snippet", "subject_of",
]
