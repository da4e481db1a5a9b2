"""One hierarchy of errors. Every message says what was wrong and what to do about it."""


class SlmSam2Error(Exception):
    """Base of all errors this package raises on purpose."""


class VolumeError(SlmSam2Error):
    """An image or label file cannot be read, or is not the kind of volume that is needed."""


class TooLargeError(VolumeError):
    """A volume has more voxels than a server takes."""


class GridError(VolumeError):
    """A label lies on a grid that does not fit the image's."""


class PromptError(SlmSam2Error):
    """What the user gave (painted slices, clicks, names, ranges) cannot be used."""


class CheckpointError(SlmSam2Error):
    """A weights file is missing, damaged, or does not fit the network."""


class ConfigurationError(SlmSam2Error):
    """A setting or configuration file is missing, unknown or out of range."""


class RunCancelledError(SlmSam2Error):
    """The user ended a run before it was done."""


class MemoryShortageError(SlmSam2Error):
    """The memory of the machine or of its GPU does not suffice for a request."""


class TimeUpError(SlmSam2Error):
    """A run took longer than it may."""


class ArchiveError(SlmSam2Error):
    """The image archive (PACS) refuses something, or cannot do it."""


class TransferError(SlmSam2Error):
    """The image archive (PACS) did not send, or did not take, all of something."""


class StorageError(SlmSam2Error):
    """The disk is full, or a file cannot be written; what was there before is unchanged."""
