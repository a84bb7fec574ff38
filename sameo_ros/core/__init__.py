"""What the node does, without ROS: pairing, segmenting, lifting, and the thread that does it."""
