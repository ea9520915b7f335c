"""What customers owe after it was invoiced: open items, payments, credit notes, reminders, the hand-off to finance."""
