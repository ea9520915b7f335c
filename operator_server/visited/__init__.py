"""A visited network: foreign mobiles in ours, our mobiles in others, and what the two operators settle."""
