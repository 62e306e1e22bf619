"""The mail room: letters in from HighLevel. Nothing here knows what a letter means to bookings or installs."""
