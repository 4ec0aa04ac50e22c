"""What runs keep in folders: trained weights, adapters for others, and what of it may go."""
