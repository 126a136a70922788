"""What a user has (tables, runbooks, FAQs, passages, chats) -> a knowledge set, the rest of it proposed."""
