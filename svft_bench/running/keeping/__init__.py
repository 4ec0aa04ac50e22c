"""What runs keep in folders: trained weights, cards, and what of it may go."""
