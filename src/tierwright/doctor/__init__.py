"""Is the database what the application relies on? ``examine`` says so, with a remedy for each finding."""

from tierwright.doctor.examination import examine
from tierwright.doctor.report import Finding, Report, Severity

__all__ = ["Finding", "Report", "Severity", "examine"]
