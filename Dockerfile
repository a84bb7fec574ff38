# The node on a CPU, for any ROS 2 distribution from Jazzy on:
#   docker build --build-arg ROS_DISTRO=jazzy -t sameo_ros .
#   docker run --rm --shm-size=512m sameo_ros ros2 launch sameo_ros demo.launch.py
# Written from the documentation of the base images; no Docker was at hand to build it.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /workspace

# RViz and cv_bridge are left out: the first needs a display, the second only unusual encodings.
COPY package.xml src/sameo_ros/
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install -y --from-paths src --ignore-src --skip-keys "rviz2 cv_bridge" \
    && rm -rf /var/lib/apt/lists/*
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir openvino

COPY CMakeLists.txt src/sameo_ros/
COPY msg src/sameo_ros/msg
COPY srv src/sameo_ros/srv
COPY config src/sameo_ros/config
COPY examples src/sameo_ros/examples
COPY launch src/sameo_ros/launch
COPY sameo_model src/sameo_ros/sameo_model
COPY sameo_ros src/sameo_ros/sameo_ros
RUN set +u && source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && colcon build --cmake-args -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release

# Images go through shared memory; up to Jazzy, Fast DDS calls the variable by its older name.
RUN printf '%s\n' '#!/bin/bash' 'set -e' 'source /workspace/install/setup.bash' \
    'profile=/workspace/install/sameo_ros/share/sameo_ros/config/fastdds.xml' \
    'case "$ROS_DISTRO" in' \
    '  humble|iron|jazzy) export FASTRTPS_DEFAULT_PROFILES_FILE="$profile" ;;' \
    '  *) export FASTDDS_DEFAULT_PROFILES_FILE="$profile" ;;' \
    'esac' 'exec "$@"' > /sameo_entrypoint.sh \
    && chmod +x /sameo_entrypoint.sh
ENTRYPOINT ["/sameo_entrypoint.sh"]
CMD ["ros2", "launch", "sameo_ros", "sameo.launch.py"]
