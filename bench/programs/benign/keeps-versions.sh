# needs: git
# A repository of its own, with a few versions.
git init -q . && git config user.email ada@example.com && git config user.name Ada
for n in 1 2 3; do echo "line $n" >> text && git add text && git commit -qm "version $n"; done
git log --oneline | wc -l
