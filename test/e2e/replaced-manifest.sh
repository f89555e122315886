# Takes the place of the live system's manifest.sh where store paths are replaced: prints what that one printed when the
# system was built. Files in which names were rewritten are hashed with the old names put back, so the two texts agree only
# if nothing but those names has changed. Of itself it prints the hash of the other, for Nix verifies it.
export LC_ALL=C
work=/tmp/undo
rm -rf $work
mkdir -p $work
: > $work/sed
: > $work/patterns

# The hash parts that the paths had, in the order of the arguments; cut in two, so that these are no references.
number=0
while read -r first second; do
  number=$((number + 1))
  eval "new=\${$number}"
  new=${new#/nix/store/}
  new=${new%%-*}
  if [ "$new" != "$first$second" ]; then
    echo "s/$new/$first$second/g" >> $work/sed
    echo "$new" >> $work/patterns
  fi
done << END
@names@
END

find "$@" -type f -exec grep -l -F -f $work/patterns {} + | grep -v -x -F "$0" > $work/files
while read -r file; do
  echo "$(sed -f $work/sed "$file" | md5sum | cut -d ' ' -f 1)  $file"
done < $work/files > $work/sums
echo "@hash@  $0" >> $work/sums
echo "LIVE-REPLACED names=$(wc -l < $work/patterns) files=$(wc -l < $work/files)" > /dev/ttyS0

{
  find "$@" -type f ! -perm -100 -exec md5sum {} + | sed 's/^/file /'
  find "$@" -type f -perm -100 -exec md5sum {} + | sed 's/^/program /'
} > $work/hashes
# A line is a kind, a blank, 32 digits, two blanks and a path.
awk 'NR == FNR { sum[substr($0, 35)] = substr($0, 1, 32); next }
  { path = substr($0, length($1) + 36) }
  path in sum { $0 = $1 " " sum[path] "  " path }
  { print }' $work/sums $work/hashes
find "$@" -type d | sed 's/^/directory /'
find "$@" -type l -exec stat -c 'link %N' {} +
find "$@" ! -type f ! -type d ! -type l -exec stat -c 'other %F %n' {} +
