"""What is learnt of submitted labels: at once, and by trainings."""
