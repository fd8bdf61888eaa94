# What a case left changed: of every chosen file kind, mode, owner, links and size, of regular files content, of directories what is in them.
# Logs tell times. Run on both sides by the image's own programs.
cd /
places="etc home root srv opt var tmp usr/local"
find $places $WHICH ! -path 'var/log/[wlb]*mp' ! -name lastlog ! -path 'var/log/journal/*' -printf '%p %M %u %g ' \
    \( -type d -printf '\n' -o -printf '%n %s %l\n' \) | LC_ALL=C sort
find $places $WHICH -type f ! -path 'var/log/*' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
find $places $WHICH -type d -print0 | LC_ALL=C sort -z | while IFS= read -r -d '' d; do
    echo "$d:" $(LC_ALL=C ls -A "$d")
done
