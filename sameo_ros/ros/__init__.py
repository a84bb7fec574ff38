"""What ties the node to ROS: topics, parameters, diagnostics, transport."""
