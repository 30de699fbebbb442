#!/bin/sh
set -eu
: "${DOMAIN:=example.org}" "${PORT:=8000}" "${TLS:=no}"
mkdir -p conf

cat > conf/site.conf <<END
server {
    server_name $DOMAIN www.$DOMAIN;
    listen $([ "$TLS" = yes ] && echo "443 ssl" || echo 80);
    location / {
        proxy_pass http://127.0.0.1:$PORT;
        proxy_set_header Host \$host;
    }
}
END

cat > conf/run.sh <<'END'
#!/bin/sh
# generated file
echo "would start with args: $*"
exit 9
END
chmod +x conf/run.sh

cat <<-END
	Generated for $DOMAIN:
	$(ls conf | sed 's/^/ - /')
	END
cat conf/site.conf
grep -n '\$host' conf/site.conf
rc=0; ./conf/run.sh one 'two three' || rc=$?
echo "run.sh -> $rc"
