"""ROS 2 node that turns camera images and boxes into amodal masks.

The executables lie at the top, beside what one of them alone uses. They and `ros` (topics,
parameters, diagnostics, transport) know ROS; `messages` (conversions) and `core` (pairing,
segmenting, lifting, the worker) do not, and `core` knows nothing of the others.

The generated `sameo_ros.msg` and `sameo_ros.srv` lie in the environment's prefix; the path is
extended so that they are found beside modules that run from the source tree.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
