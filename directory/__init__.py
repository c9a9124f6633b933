"""The directory chain: responsibilities, instruments of law, matters, systems, data resources,
entrustments."""
