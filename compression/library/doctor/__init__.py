"""The import doctor: whether an untouched model would do far better with another preprocessing or order of labels."""

from compression.library.doctor.diagnosis import Diagnosis, diagnose, diagnose_and_keep, read_diagnosis, use_suggestion

__all__ = ["Diagnosis", "diagnose", "diagnose_and_keep", "read_diagnosis", "use_suggestion"]
