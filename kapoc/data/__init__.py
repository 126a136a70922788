"""How a knowledge set is checked, shown and invented, and what words and names it is made of."""
