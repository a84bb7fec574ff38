"""ROS 2 node that turns camera images and boxes into amodal masks.

Only the executables (`node`, `build_engines`, `replay`, `recorder`, `view`) and `executable` import
rclpy. The generated `sameo_ros.msg` and `sameo_ros.srv` lie in the environment's prefix; the path
is extended so that they are found beside modules that run from the source tree.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
