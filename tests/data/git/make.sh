#!/bin/bash
# Signed commits of every kind; keys are made for this and thrown away.
set -eu
export HOME=$PWD/home GNUPGHOME=$PWD/gpg GIT_CONFIG_NOSYSTEM=1
mkdir -p home gpg; chmod 700 gpg
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
at() { export GIT_AUTHOR_DATE="$1 +0000" GIT_COMMITTER_DATE="$1 +0000"; }
T=1785542400
for k in ed25519:ann ecdsa:bob rsa:old ed25519:files ed25519:stranger; do
  ssh-keygen -q -t ${k%%:*} ${k/#rsa*/-b 2048} -N '' -C ${k##*:} -f ssh-${k##*:} 2>/dev/null || ssh-keygen -q -t ${k%%:*} -N '' -C ${k##*:} -f ssh-${k##*:}
done
{
  echo "# who may sign"
  echo "ann@example.org namespaces=\"git,file\" $(cat ssh-ann.pub)"
  echo "bob@example.org $(cat ssh-bob.pub)"
  echo "old@example.org valid-before=\"20260801\" $(cat ssh-old.pub)"
  echo "files@example.org namespaces=\"file\" $(cat ssh-files.pub)"
  echo "*@example.org cert-authority $(cat ssh-bob.pub)"
} > allowed_signers
git init -q -b main ssh
n=0
commit() { at $((T+n*3600)); echo $n > ssh/f; git -C ssh add f; git -C ssh "$@"; n=$((n+1)); }
for k in ann bob old files stranger; do
  commit -c gpg.format=ssh -c user.signingkey=$PWD/ssh-$k.pub commit -q -S -m "signed by $k"
done
commit commit -q -m "not signed"
git -C ssh -c gpg.format=ssh -c user.signingkey=$PWD/ssh-ann.pub tag -s v1 -m "first"
git -C ssh -c gpg.format=ssh -c user.signingkey=$PWD/ssh-stranger.pub tag -s v2 -m "second"
git -C ssh bundle create -q ../ssh.bundle --all
for c in $(git -C ssh rev-list --reverse main); do git -C ssh -c gpg.ssh.allowedSignersFile=$PWD/allowed_signers verify-commit $c >/dev/null 2>&1 && echo "$c good" || echo "$c not"; done
for t in v1 v2; do git -C ssh -c gpg.ssh.allowedSignersFile=$PWD/allowed_signers verify-tag $t >/dev/null 2>&1 && echo "$t good" || echo "$t not"; done
# OpenPGP
key() { cat > p <<E
%no-protection
Key-Type: $2
$3
Key-Usage: sign,cert
Name-Real: $1
Name-Email: $1@example.org
Expire-Date: $4
Creation-Date: 20260701T000000
%commit
E
gpg --batch -q --faked-system-time 20260701T000000 --gen-key p; }
key ann EDDSA "Key-Curve: ed25519" 0
key bob RSA "Key-Length: 2048" 0
key short EDDSA "Key-Curve: ed25519" 0
key lost EDDSA "Key-Curve: ed25519" 0
key retired EDDSA "Key-Curve: ed25519" 0
key stranger EDDSA "Key-Curve: ed25519" 0
fpr() { gpg --list-keys --with-colons $1@example.org 2>/dev/null | awk -F: '$1=="fpr"{print $10; exit}'; }
# a signing subkey for bob
gpg --batch -q --pinentry-mode loopback --passphrase '' --faked-system-time 20260701T000100 --quick-add-key $(fpr bob) ed25519 sign 0
SUB=$(gpg --list-keys --with-colons bob@example.org | awk -F: '$1=="fpr"{x=$10} END{print x}')
git init -q -b main pgp
n=0
cat > gpgw <<'E'
#!/bin/bash
# git's own time is the signature's: a day that the key of the commit knew
exec gpg --faked-system-time "$SIGN_AT" "$@"
E
chmod +x gpgw
pcommit() { at $((T+n*3600)); echo $n > pgp/f; git -C pgp add f; SIGN_AT="$(date -u -d @$((T+n*3600)) +%Y%m%dT%H%M%S)!" git -C pgp -c gpg.program=$PWD/gpgw -c user.signingkey="$1" commit -q -S -m "$2"; n=$((n+1)); }
pcommit "$(fpr ann)!" "signed by ann"
pcommit "$(fpr bob)!" "signed by bob"
pcommit "$SUB!" "signed by the subkey of bob"
pcommit "$(fpr lost)!" "signed by lost"
pcommit "$(fpr retired)!" "signed by retired, before"
pcommit "$(fpr stranger)!" "signed by stranger"
# expired key: gpg refuses to sign, so it signs with the clock at an earlier day and git's date is later: remade below
at $((T-20*86400)); echo x > pgp/f; git -C pgp add f
SIGN_AT="20260710T000000!" git -C pgp -c gpg.program=$PWD/gpgw -c user.signingkey="$(fpr short)!" commit -q -S -m "signed by short, in time"
n=7; pcommit "$(fpr short)!" "signed by short, too late"
gpg --batch -q --pinentry-mode loopback --passphrase '' --faked-system-time 20260702T000000 --quick-set-expire $(fpr short) 20260720T000000
n=8; at $((T+n*3600)); SIGN_AT="20260801T070000!" git -C pgp -c gpg.program=$PWD/gpgw -c user.signingkey="$(fpr ann)!" tag -s v1 -m first
revoke() { gpg -q --pinentry-mode loopback --passphrase '' --faked-system-time 20260801T120000 --command-fd 0 --no-tty --status-fd 2 --gen-revoke "$1" >rev-$2 2>/dev/null <<E
y
$3

y
E
gpg --batch -q --faked-system-time 20260801T120000 --import rev-$2; }
revoke $(fpr lost) lost 1
revoke $(fpr retired) retired 3
gpg --armor --export ann@example.org bob@example.org > keys.asc
gpg --export short@example.org lost@example.org retired@example.org > keys.gpg
git -C pgp bundle create -q ../pgp.bundle --all
for c in $(git -C pgp rev-list --reverse main); do echo "$c $(git -C pgp log -1 --format='%G? %GK %s' $c)"; done
