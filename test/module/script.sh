# What the machine does to the pools of /test/pools (one line each: its name, its steps). Every step writes its output to
# /results/POOL.STEP and its status to /results/status; the test looks at both afterwards.
DISKS=/dev/disk/by-id
# There is no udev, for which an import would wait some seconds.
export ZFS_VDEV_DEVID_OPT_OUT=YES

step() {
  local result=$1
  shift
  "$@" > "/results/$result" 2>&1
  echo "$result $?" >> /results/status
  echo "step $result, $(cut -d ' ' -f 1 /proc/uptime) s"
}

# /test/POOL.mounts: a dataset and its folder a line, parents first.
mount_all() {
  while read -r dataset folder; do
    mount -t zfs "$dataset" "/mnt/$1$folder" || return 1
  done < "/test/$1.mounts"
}

unmount_all() {
  tac "/test/$1.mounts" | while read -r dataset folder; do
    umount "/mnt/$1$folder" || return 1
  done
}

scrub() {
  zpool scrub -w "$1" && zpool status -v "$1"
}

again() {
  unmount_all "$1" && zpool export "$1" && zpool import -d "$DISKS" -N "$1" && zpool status "$1" && mount_all "$1"
}

# What a running system does to files, in every dataset.
disturb() {
  while read -r dataset folder; do
    cd "/mnt/$1$folder" || return 1
    mkdir new new/deep || return 1
    for number in $(seq 120); do
      echo "content $number" > "new/file-$number-with-a-name-that-is-far-too-long-for-the-small-kind-of-directory" || return 1
    done
    head -c 1500000 /bin/busybox > new/large && cmp -n 1500000 new/large /bin/busybox || return 1
    # Over the end, over a hole, and cut: whatever of the contents the dataset has.
    for each in mebibyte odd sparse 3000 tiny; do
      if [ -e "$each" ]; then echo appended >> "$each" || return 1; fi
    done
    if [ -e sparse ]; then dd if=/bin/busybox of=sparse bs=1000 count=100 seek=1000003 conv=notrunc 2> /dev/null || return 1; fi
    if [ -e words ]; then truncate -s 10 words && truncate -s 200000 runs && rm 20000 && mv 131072 new/ && ln 131073 new/link || return 1; fi
    if [ -e zeros ]; then chown 5:6 zeros && chmod 600 zeros && touch -d '2020-01-01 00:00' zeros || return 1; fi
    if [ -d zoo ]; then rm -r zoo/attributes zoo/deep zoo/holes* && mv zoo/names new/ && echo more >> zoo/links/first || return 1; fi
    if [ -d store ]; then rm store/*1[0-9][0-9] && for number in $(seq 200); do echo "$number" > "store/another-package-of-some-length-$number" || return 1; done; fi
  done < "/test/$1.mounts"
  cd / && sync
}

all_send() {
  zfs send "$1@$3" | zfs receive "$2" && mkdir -p "/mnt/$2" && mount -o ro -t zfs "$2" "/mnt/$2" && list-tree "/mnt/$2" && umount "/mnt/$2"
}

# A full stream of the empty snapshot, and what has changed since.
steps_send() {
  local dataset
  dataset=$(grep ' /nix$' "/test/$1.mounts" | cut -d ' ' -f 1)
  step "$1.received" all_send "$dataset" "$1/copy" full
  step "$1.received-empty" all_send "$dataset" "$1/increments" a
  step "$1.received-increment" sh -c "zfs send -Lce -i @a $dataset@full | zfs receive $1/increments"
  step "$1.incremented" sh -c "mount -t zfs $1/increments /mnt/$1/increments && list-tree /mnt/$1/increments && umount /mnt/$1/increments"
  step "$1.cloned" sh -c "zfs clone $dataset@full $1/clone && zfs promote $1/clone && zfs promote $dataset && zfs destroy $1/clone"
  step "$1.diff" sh -c "mount -t zfs $dataset /mnt/$1 && zfs diff -FH $dataset@b $dataset@full && umount /mnt/$1"
  # Without its mount point, which lies in a folder that goes away now.
  local root
  root=$(grep ' /$' "/test/$1.mounts" | cut -d ' ' -f 1)
  step "$1.rollback" sh -c "zfs rollback -r $root@blank && mount -t zfs $root /mnt/$1 && list-tree /mnt/$1 && umount /mnt/$1"
  step "$1.removed-snapshots" sh -c "zfs destroy $dataset@b && zfs destroy $dataset@a && zfs destroy $dataset@full && zfs destroy -r $1/copy"
  step "$1.space-after" zfs list -Hp -r -t all -o name,used,referenced,usedbysnapshots,usedbydataset "$1"
}

steps_destroy() {
  step "$1.destroyed" sh -c "zfs destroy -r $1/zle && zfs destroy -r $1/off && zfs destroy -r $1/system && zpool sync $1 && zfs list -Hp -r $1"
}

steps_upgrade() {
  step "$1.upgraded" sh -c "zpool set compatibility=off $1 && zpool upgrade $1"
  step "$1.upgraded-status" zpool status "$1"
  step "$1.reimported" sh -c "zpool export $1 && zpool import -d $DISKS -N $1 && zpool status $1"
  step "$1.more" sh -c "zfs create -o mountpoint=legacy $1/more && mkdir /mnt/$1/more; mount -t zfs $1/more /mnt/$1 && head -c 1500000 /bin/busybox > /mnt/$1/file && sync && umount /mnt/$1"
  step "$1.scrubbed-upgrade" scrub "$1"
  step "$1.reimported-again" sh -c "zpool export $1 && zpool import -d $DISKS -N $1 && zpool status $1"
}

# What an administrator does to a pool that came as an image.
steps_care() {
  local device
  device=$(zpool list -HvP -o name "$1" | sed -n 2p | cut -f 2)
  step "$1.identity" zpool reguid "$1"
  step "$1.checkpoint" sh -c "zpool checkpoint $1 && zfs create $1/checked && zpool checkpoint -d -w $1"
  step "$1.trimmed" zpool trim -w "$1"
  truncate -s 512M /tmp/mirror
  step "$1.mirrored" zpool attach -w "$1" "$device" /tmp/mirror
  step "$1.scrubbed-mirror" scrub "$1"
  step "$1.detached" sh -c "zpool detach $1 /tmp/mirror && rm /tmp/mirror"
}

# Directories of very many names: more of them, fewer of them.
steps_names() {
  mount_all "$1"
  step "$1.more-names" sh -c "cd /mnt/$1/200000 && for number in \$(seq 3000); do echo > a-new-name-of-a-certain-length-that-is-no-collision-\$number || exit 1; done"
  step "$1.fewer-names" sh -c "cd /mnt/$1/60000 && ls | head -n 5000 | xargs rm && mkdir ../200000/moved && ls | head -n 500 | xargs -I NAME mv NAME ../200000/moved/"
  step "$1.counts" sh -c "sync; ls /mnt/$1/60000 | wc -l; ls /mnt/$1/200000 | wc -l; ls /mnt/$1/200000/moved | wc -l"
  unmount_all "$1"
  step "$1.scrubbed-names" scrub "$1"
}

# The disk is larger than the pool.
steps_grow() {
  # Its short name: a disk that belongs to the pool as a whole is not named by its partition.
  step "$1.size-before" zpool get -Hp -o property,value size,expandsize "$1"
  step "$1.online" zpool online -e "$1" "$(zpool list -Hv -o name "$1" | sed -n 2p | cut -f 2)"
  step "$1.size-after" zpool get -Hp -o property,value size,expandsize "$1"
  mount_all "$1"
  step "$1.filled" sh -c "zfs set compression=off $1 && dd if=/dev/zero of=/mnt/$1/filling bs=1M count=250 && sync && zfs list -Hp $1"
  unmount_all "$1"
  step "$1.scrubbed-grown" scrub "$1"
}

step importable zpool import -d "$DISKS"
while read -r pool steps; do
  mkdir "/mnt/$pool"
  step "$pool.import" zpool import -d "$DISKS" -N "$pool"
  step "$pool.status" zpool status "$pool"
  step "$pool.space" zfs list -Hp -r -t all -o name,used,referenced,usedbysnapshots,usedbydataset,usedbyrefreservation "$pool"
  step "$pool.local" zfs get -Hp -r -s local -t filesystem -o name,property,value all "$pool"
  step "$pool.properties" zpool get -Hp -o property,value all "$pool"
  step "$pool.mount" mount_all "$pool"
  step "$pool.tree" list-tree "/mnt/$pool"
  step "$pool.owners" zfs userspace -Hpn -o name,objused "$(head -n 1 "/test/$pool.mounts" | cut -d ' ' -f 1)"
  case "$steps" in
    *names*) ;;
    *)
      step "$pool.disturbed" disturb "$pool"
      step "$pool.before" list-tree "/mnt/$pool"
      step "$pool.again" again "$pool"
      step "$pool.after" list-tree "/mnt/$pool"
      ;;
  esac
  step "$pool.unmounted" unmount_all "$pool"
  step "$pool.scrubbed" scrub "$pool"
  for more in $steps; do
    "steps_$more" "$pool"
  done
  step "$pool.history" zpool history -i "$pool"
  step "$pool.exported" zpool export "$pool"
done < /test/pools
