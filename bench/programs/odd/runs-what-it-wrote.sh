# expects: exec-of-written
# wall: embedded
# Unpacks a program that came as text, and becomes it.
echo IyEvYmluL3NoCmVjaG8gaGVsbG8K | base64 -d > tool
chmod +x tool
./tool
