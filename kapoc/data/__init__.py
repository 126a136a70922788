"""How a knowledge set comes to be and is checked: import, proposals, generation, the audit."""
