"""What the server answers to: routes in front of MONAI Label's, and what no request may do."""
