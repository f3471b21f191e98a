"""`onefold verify`: the proof that what was served is, to the bit, what training would have seen."""

from onefold.verify.report import Cause, Finding, Mismatch, Report
from onefold.verify.run import verify

__all__ = ["Cause", "Finding", "Mismatch", "Report", "verify"]
