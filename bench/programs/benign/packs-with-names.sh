# Names of files on stderr, and an archive of noise on stdout.
mkdir folder
for n in $(seq 20); do head -c 20000 /dev/urandom > "folder/$n"; done
tar -cvzf - folder
