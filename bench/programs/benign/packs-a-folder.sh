# tar and gzip, there and back.
mkdir -p folder/deep
for n in $(seq 40); do seq 200 > "folder/deep/$n.txt"; done
tar cf - folder | gzip -9 > folder.tar.gz
mkdir out-again && gzip -dc folder.tar.gz | tar xf - -C out-again
diff -r folder out-again/folder && echo same
