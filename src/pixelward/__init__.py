"""See what every unit of a convolutional network has learnt."""
