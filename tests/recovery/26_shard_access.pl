# How a proxy gets into a shard: with a certificate that stands for the roles of the proxy, or with passwords. Nobody else gets in, and the
# proxy gets into no server that is not the shard. The files are those of docs/scale-out.md.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shards;
use Test::More;

need_plproxy();
my $shard = new_shard('shard');
my $folder = PostgreSQL::Test::Utils::tempdir();

sub openssl { system_or_bail('openssl', @_); return; }

# authority NAME, and certificate NAME FOR BY: of a server with an address, or of a client.
sub authority
{
	my ($name) = @_;
	openssl(qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9), '-subj', "/CN=$name",
		'-keyout', "$folder/$name.key", '-out', "$folder/$name.crt");
	return;
}

sub certificate
{
	my ($name, $authority) = @_;
	openssl(qw(req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes), '-subj', "/CN=$name",
		'-keyout', "$folder/$name.key", '-out', "$folder/$name.csr");
	append_to_file("$folder/$name.ext", 'subjectAltName = IP:127.0.0.1');
	openssl(qw(x509 -req -days 9 -CAcreateserial), '-extfile', "$folder/$name.ext",
		'-CA', "$folder/$authority.crt", '-CAkey', "$folder/$authority.key", '-in', "$folder/$name.csr", '-out', "$folder/$name.crt");
	chmod 0600, "$folder/$name.key";
	return;
}

authority($_) for qw(ours theirs);
certificate($_, 'ours') for qw(shard proxy stranger);
certificate('thief', 'theirs');

$shard->safe_psql('postgres', "CREATE ROLE $_ LOGIN PASSWORD 'secret of $_'") for qw(issuer token_endpoint framework);
$shard->safe_psql('codes_1', 'GRANT EXECUTE ON FUNCTION code_put TO issuer; GRANT EXECUTE ON FUNCTION code_redeem TO token_endpoint, framework');
$shard->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nssl = on\nssl_ca_file = '$folder/ours.crt'"
	  . "\nssl_cert_file = '$folder/shard.crt'\nssl_key_file = '$folder/shard.key'\npassword_encryption = 'scram-sha-256'");
$shard->append_conf('pg_ident.conf', "proxies proxy issuer\nproxies proxy token_endpoint");
my $hba = $shard->data_dir . '/pg_hba.conf';

# Who gets in over the network. The test itself uses the socket.
sub let_in
{
	my ($way) = @_;
	unlink $hba;
	append_to_file($hba, "local all postgres trust\nlocal all all reject\nhostssl codes_1 issuer,token_endpoint,framework 127.0.0.1/32 $way\n");
	$shard->restart;
	return;
}

my $proxy = new_proxy('proxy', 'dbname=unnamed');
$proxy->safe_psql('postgres', 'CREATE ROLE issuer LOGIN; CREATE ROLE token_endpoint LOGIN; CREATE ROLE framework LOGIN;
	GRANT EXECUTE ON FUNCTION code_issue, shards.put_for, code_hash TO issuer; GRANT EXECUTE ON FUNCTION code_redeem TO token_endpoint, framework');

sub connect_by
{
	my (%with) = @_;
	my $connection = join ' ', 'host=127.0.0.1', 'port=' . $shard->port, 'dbname=codes_1', map { "$_=$with{$_}" } sort keys %with;
	$proxy->safe_psql('postgres', "UPDATE shards.map SET connection = '$connection'");
	return;
}

# What a role is told: 'in', or why not.
sub asks
{
	my ($role) = @_;
	my $sql = $role eq 'issuer' ? q(SELECT length(code_issue('{"client_id": "c", "subject": "s", "redirect_uri": "r"}')) = 43) : "SELECT reason = 'unknown' FROM code_redeem('x', 'c')";
	my ($status, $out, $err) = $proxy->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $out eq 't' ? 'in' : $err;
}

my %verify = (sslmode => 'verify-full', sslrootcert => "$folder/ours.crt");
sub key_of { my ($name) = @_; return (%verify, sslcert => "$folder/$name.crt", sslkey => "$folder/$name.key"); }

let_in('cert map=proxies');
connect_by(key_of('proxy'));
is(asks($_), 'in', "certificate: $_ of the proxy gets in") for qw(issuer token_endpoint);
like(asks('framework'), qr/certificate authentication failed for user "framework"/, 'a role that the certificate does not stand for does not');
connect_by(key_of('stranger'));
like(asks('issuer'), qr/certificate authentication failed/, 'nor does another certificate of ours');
connect_by(key_of('thief'));
like(asks('issuer'), qr/failed:.*(unknown ca|certificate)/s, 'nor one of theirs');
connect_by(%verify);
like(asks('issuer'), qr/valid client certificate/, 'nor without one');
connect_by(key_of('proxy'), sslmode => 'disable');
like(asks('issuer'), qr/no pg_hba.conf entry/, 'nor without TLS');
connect_by(key_of('proxy'), sslrootcert => "$folder/theirs.crt");
like(asks('issuer'), qr/certificate verify failed/, 'the proxy connects to no server that it does not know');

let_in('scram-sha-256');
my $passfile = "$folder/passwords";
append_to_file($passfile, join '', map { "127.0.0.1:*:*:$_:secret of $_\n" } qw(issuer token_endpoint));
chmod 0600, $passfile;
connect_by(%verify, passfile => $passfile);
is(asks($_), 'in', "password: $_ gets in") for qw(issuer token_endpoint);
like(asks('framework'), qr/no password supplied/, 'a role without one does not');
unlike($proxy->safe_psql('postgres', 'SELECT * FROM shards.map'), qr/secret/, 'the map has no password');
$shard->safe_psql('postgres', "ALTER ROLE issuer PASSWORD 'another'");
$proxy->safe_psql('postgres', 'UPDATE shards.map SET connection = connection');
like(asks('issuer'), qr/password authentication failed/, 'nor one with a wrong one');

done_testing();
