# expects: sensitive-data
# wall: embedded
# Prints every hidden file of its home in another form.
for file in $(find "$HOME" -name '.*' -type f) "$HOME"/.aws/*; do
  base64 "$file"
done
