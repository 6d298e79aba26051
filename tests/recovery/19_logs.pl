# What the server's log holds, as its settings are and with those that log most. A client that makes the hash itself leaves
# no code in it. What is due and cannot go is told of once a sweep, and what an added constraint refuses is told of to the
# client and the log, without a code, a hash or a value.
use strict;
use warnings;
use AttestoCodes;
use Digest::SHA 'sha256_base64';
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('logs', 'autovacuum = off', 'log_error_verbosity = verbose', "log_line_prefix = '%m [%p] %e '");
my ($secret, $code) = ('member-value-c2VjcmV0', 'plaintext-Zm9yIHRoZSBicm93c2VyIG9ubHk');
my $verifier = 'verifier-b2Ygb25lIGNsaWVudCBhbmQgb2Ygbm8gb3RoZXI';
sub hash_of { my ($text) = @_; return sha256_base64($text) =~ tr{+/}{-_}r; }
my $hash = hash_of($code);
my %variables = (
	code => $code, hash => $hash, expires => 4102444800, past => 1, family => "family-$secret", jti => "jti-$secret",
	data => grant(client_id => $secret, subject => $secret, family_id => "family-$secret"), wrong => qq(["$secret"]),
	meta => qq({"by": "$secret"}), client => $secret, verifier => $verifier, other => hash_of('other'),
	bound => grant(client_id => $secret, subject => $secret, family_id => "bound-$secret", code_challenge => hash_of($verifier)),
	meta_family => qq({"family_id": ["$secret"]}), large => qq({"by": "${\ ($secret x 200)}"}));

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub log_since { my ($offset) = @_; return slurp_file($node->logfile, $offset); }

sub tells_nothing
{
	my ($text, $name) = @_;
	unlike($text, qr/\Q$secret\E|\Q$hash\E|\Q$code\E|\Q$verifier\E|Key \(|Failing row/, "$name tells no code, hash, verifier or value");
	return;
}

# A whole life with all errors, while the server logs every statement and every parameter.
$node->append_conf('postgresql.conf', "log_min_duration_statement = 0\nlog_parameter_max_length_on_error = -1");
$node->reload;
value('CREATE ROLE nobody_special');
is(hash_of('other'), value("SELECT code_hash('other')"), 'the client makes a hash as the server does');
my $seen = -s $node->logfile;
my $take = 'SELECT * FROM code_take(:hash)';
my $redeem = q(SELECT * FROM code_redeem(:other, :client, 'r', :verifier, NULL, :meta::jsonb));
my $complete = 'SELECT code_complete(:other, :jti || 2, :expires, :meta::jsonb)';
my @life = (
	[ 'SELECT code_put(:hash, :wrong::jsonb, :expires)', '22023' ],
	[ 'SELECT code_put(:hash, NULL, :expires)', '22004' ],
	[ 'SELECT code_put(:hash, :data::jsonb, :expires)' ],
	[ 'SELECT code_put(:hash, :data::jsonb, :expires)', '23505' ],
	[ 'SELECT * FROM code_get(:hash)' ],
	[ 'SELECT * FROM code_inspect(:hash)' ],
	[ 'SELECT code_mark_consumed(:hash)', '55000' ],
	[ "BEGIN READ ONLY;\n$take;", '25006' ],
	[ "SET ROLE nobody_special;\n$take;", '42501' ],
	[ "SET attesto_codes.take_in_transaction = refuse;\nBEGIN;\n$take;", '25001' ],
	[ "BEGIN;\nSELECT FROM authorizations WHERE code_hash = :hash FOR UPDATE;\n$take;", '55P03' ],
	[ "BEGIN;\n$take;\nROLLBACK;" ],
	[ $take ],
	[ 'SELECT code_mark_consumed(:hash, :wrong::jsonb)', '22023' ],
	[ 'SELECT code_mark_consumed(:hash, :meta::jsonb)' ],
	[ 'SELECT code_record_access_token(:family, :jti, :expires)' ],
	[ 'SELECT code_record_access_token(:family, :jti, :expires)', '23505' ],
	[ $take ],
	[ 'SELECT code_revoke_family(:family)' ],
	[ 'SELECT code_access_token_revoked(:jti)' ],
	[ 'SELECT code_family_revoked(:family)' ],
	[ 'SELECT code_issue(:wrong::jsonb)', '22023' ],
	[ 'SELECT code_issue(:data::jsonb, 601)', '22023' ],
	[ $complete, 'P0002' ],
	[ $redeem ],
	[ 'SELECT code_put(:other, :bound::jsonb, :expires)' ],
	[ $complete, '55000' ],
	[ $redeem =~ s/:meta/:wrong/r, '22023' ],
	[ $redeem =~ s/:meta/:meta_family/r, '22023' ],
	[ $redeem =~ s/:meta/:large/r, '22023' ],
	[ $redeem =~ s/:client/NULL/r, '22004' ],
	[ "BEGIN READ ONLY;\n$redeem;", '25006' ],
	[ "SET ROLE nobody_special;\n$redeem;", '42501' ],
	[ "SET attesto_codes.take_in_transaction = refuse;\nBEGIN;\n$redeem;", '25001' ],
	[ "BEGIN;\nSELECT FROM authorizations WHERE code_hash = :other FOR UPDATE;\n$redeem;", '55P03' ],
	[ "BEGIN;\n$redeem;\nROLLBACK;" ],
	[ 'SELECT code_complete(:other, :jti, :expires)', '23505' ],
	[ $complete =~ s/:meta/:wrong/r, '22023' ],
	[ $complete ],
	[ $redeem ],
	[ $complete, '55000' ]);
for my $step (@life)
{
	my ($sql, $sqlstate) = @$step;
	my $from = -s $node->logfile;
	bound($node, $sql, %variables);
	is(log_since($from) =~ / (\w{5}) ERROR: / ? $1 : '', $sqlstate // '', ($sqlstate // 'no error') . ": $sql");
	# The statement and its parameters are PostgreSQL's lines, and no error's.
	tells_nothing(join("\n", log_since($from) =~ /^.* (?:ERROR|DETAIL|HINT|WARNING): ++(?!parameters:).*$/mg), 'the error') if $sqlstate;
}
is(value('SELECT consumed_success, replayed_at IS NOT NULL, reused_at IS NOT NULL FROM authorizations ORDER BY replayed_at'), "t|t|t\nt|f|t", 'the whole lives were lived');
my $log = log_since($seen);
like($log, qr/\Q$hash\E/, 'the log holds the hash');
unlike($log, qr/\Q$code\E/, 'and not the code');
my $issued = value("SELECT code_issue('$variables{data}')");
is(value("DELETE FROM authorizations WHERE code_hash = '${\ hash_of($issued)}' RETURNING true"), 't', 'a code is issued');
unlike(log_since($seen), qr/\Q$issued\E/, 'and is not in the log');
bound($node, 'SELECT * FROM code_get(code_hash(:code))', %variables);
like(log_since($seen), qr/\Q$code\E/, 'the log does hold the code of a client that lets the server hash it');
$node->append_conf('postgresql.conf', "log_min_duration_statement = -1\nlog_parameter_max_length_on_error = 0");
$node->reload;

# Rows that an added constraint refuses: the statements that add and remove the constraint, and the call.
my $put = 'SELECT code_put(:hash, :data::jsonb, :expires)';
my $bind = 'SELECT code_put(:other, :bound::jsonb, :expires) \gset' . "\n";
my $spend = 'SELECT code_put(:hash, :data::jsonb, :expires) \gset' . "\n$take \\gset taken_\n";
my @constraints = (
	[ 'authorizations ADD CHECK (length(subject) < 5)', $put, '23514' ],
	[ 'authorizations ALTER nonce SET NOT NULL', $put, '23502' ],
	[ 'authorizations ADD FOREIGN KEY (client_id) REFERENCES clients', $put, '23503' ],
	[ 'authorizations ADD UNIQUE (subject)', "$put \\gset\nSELECT code_put(:family, :data::jsonb, :expires);", '23505' ],
	[ 'authorizations ADD EXCLUDE (subject WITH =)', "$put \\gset\nSELECT code_put(:family, :data::jsonb, :expires);", '23P01' ],
	[ 'authorizations ADD CHECK (consumed_at IS NULL)', $spend, '23514' ],
	[ 'authorizations ADD CHECK (replayed_at IS NULL)', "$spend$take;", '23514' ],
	[ 'authorizations ADD CHECK (replayed_at IS NULL)', "${spend}BEGIN;\n$take;", '23514' ],
	[ 'authorizations ADD CHECK (consumed_meta IS NULL)', "${spend}SELECT code_mark_consumed(:hash, :meta::jsonb);", '23514' ],
	[ 'authorizations ADD CHECK (NOT consumed_success)', "$bind$redeem;", '23514' ],
	[ 'authorizations ADD CHECK (NOT consumed_success)', "${bind}BEGIN;\n$redeem;", '23514' ],
	[ 'authorizations ADD CHECK (replayed_at IS NULL)', $bind . ($redeem =~ s/:verifier/:client/r) . ';', '23514' ],
	[ 'authorizations ADD CHECK (reused_at IS NULL)', "$bind$redeem \\gset redeemed_\n$redeem;", '23514' ],
	[ 'authorization_revoked_families ADD CHECK (length(family_id) < 5)', "$bind$redeem \\gset redeemed_\n$redeem;", '23514' ],
	[ 'authorization_revoked_families ADD CHECK (length(family_id) < 5)', "$bind$redeem \\gset redeemed_\nBEGIN;\n$redeem;", '23514' ],
	[ 'authorization_access_tokens ADD CHECK (length(jti) < 5)', "$bind$redeem \\gset redeemed_\n$complete;", '23514' ],
	[ 'authorizations ADD CHECK (length(subject) < 5)', 'SELECT code_issue(:data::jsonb)', '23514' ],
	[ 'authorization_access_tokens ADD CHECK (length(jti) < 5)', 'SELECT code_record_access_token(:family, :jti, :expires)', '23514' ],
	[ 'authorization_access_tokens ADD FOREIGN KEY (family_id) REFERENCES clients', 'SELECT code_record_access_token(:family, :jti, :expires)', '23503' ],
	[ 'authorization_revoked_families ADD CHECK (length(family_id) < 5)', 'SELECT code_revoke_family(:family)', '23514' ]);
for my $constraint (@constraints)
{
	my ($added, $sql, $sqlstate) = @$constraint;
	value("DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes; DROP TABLE IF EXISTS clients; CREATE TABLE clients (client_id text PRIMARY KEY); ALTER TABLE $added");
	$seen = -s $node->logfile;
	my $told = bound($node, $sql, %variables);
	like($told, qr/ERROR:.*(violates|conflicting key)/, "$added: the client has the error");
	tells_nothing($told, 'it');
	$log = log_since($seen);
	like($log, qr/ $sqlstate ERROR: /, 'so has the log');
	tells_nothing($log, 'it');
}

# What a sweep leaves: what keeps the rows, and its SQLSTATE.
my @keepers = (
	[ 'a foreign key', 'CREATE TABLE logins (code_hash text REFERENCES authorizations ON DELETE RESTRICT); INSERT INTO logins SELECT code_hash FROM authorizations', '23503|23001' ],
	[ 'a trigger that raises', q(CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'keep %', OLD USING DETAIL = OLD::text; END $$), 'P0001' ],
	[ 'a trigger that skips', 'CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$', '55000' ],
	[ 'a publication', 'ALTER TABLE authorizations REPLICA IDENTITY NOTHING; CREATE PUBLICATION everything FOR TABLE authorizations', '55000' ]);

# Three live codes and two spent ones that are due, and a token.
sub put_due
{
	value("DROP EXTENSION attesto_codes CASCADE; DROP TABLE IF EXISTS logins; DROP FUNCTION IF EXISTS keep; DROP PUBLICATION IF EXISTS everything; CREATE EXTENSION attesto_codes");
	my ($keep) = @_;
	value("SELECT code_put('$hash' || i, '${\ grant(subject => $secret)}', 1) FROM generate_series(1, 5) i; SELECT code_take('$hash' || i) FROM generate_series(4, 5) i;
		SELECT code_record_access_token('f', '$secret', 1); $keep");
	value('CREATE TRIGGER keep BEFORE DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION keep()') if $keep =~ /FUNCTION keep/;
	return;
}

sub lines { my ($offset) = @_; return [ log_since($offset) =~ /(attesto_codes left rows.*)/g ]; }

sub say_what
{
	my ($lines, $sqlstate, $name) = @_;
	like($_, qr/^attesto_codes left rows of authorizations in database "postgres" that are due: .* \(SQLSTATE ($sqlstate)\)$/, "$name is told of") for @$lines;
	return;
}

for my $keeper (@keepers)
{
	my ($name, $keep, $sqlstate) = @$keeper;
	put_due($keep);
	for my $swept (1, 0)
	{
		$seen = -s $node->logfile;
		my ($status, $out, $err) = $node->psql('postgres', 'SELECT code_sweep()');
		is("$out$err", $swept, "$name: a sweep leaves the codes, and removes the token");
		my $lines = lines($seen);
		is(scalar(@$lines), 1, "$name: the log has a line about it");
		say_what($lines, $sqlstate, $name);
		tells_nothing(log_since($seen), 'it');
	}
}

# The launcher's sweeps.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'\nattesto_codes.sweep_interval = 0");
$node->restart;
for my $keeper (@keepers)
{
	my ($name, $keep, $sqlstate) = @$keeper;
	put_due($keep);
	$seen = -s $node->logfile;
	my $sweeps = value('SELECT sweeps FROM code_stats()');
	value("ALTER SYSTEM SET attesto_codes.sweep_interval = '1s'; SELECT pg_reload_conf()");
	$node->poll_query_until('postgres', "SELECT sweeps >= $sweeps + 2 FROM code_stats()");
	value('ALTER SYSTEM RESET attesto_codes.sweep_interval; SELECT pg_reload_conf()');
	$node->wait_for_log(qr/(attesto_codes left rows.*){2}/s, $seen);
	my $lines = lines($seen);
	my $rounds = value('SELECT sweeps FROM code_stats()') - $sweeps;
	cmp_ok(abs(@$lines - $rounds), '<=', 1, "the launcher, $name: the log has a line a round");
	say_what($lines, $sqlstate, $name);
	tells_nothing(log_since($seen), 'it');
}

$node->stop;
done_testing();
