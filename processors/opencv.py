"""OpenCV with our limit; product code imports `cv2` from here.

OpenCV reads the variable when it is imported: a 109 KB PNG otherwise takes 5 GiB. The decode stage's own limit is
checked on the header before; this one applies where a decoder reads another size than the header states.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))

import cv2 as cv2
