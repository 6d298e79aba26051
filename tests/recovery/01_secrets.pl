# The plaintext code reaches neither the server's log nor any file of the data folder (tables, WAL), nor does that of
# code_issue or a verifier, and nothing that the extension says holds a code, a hash or a value of the grant or the meta.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('secrets', 'autovacuum = off');
$node->safe_psql('postgres', 'CREATE ROLE nobody_special LOGIN');

my $code = 'plaintext-Zm9yIHRoZSBicm93c2VyIG9ubHk';
my $hash = $node->safe_psql('postgres', "SELECT code_hash('$code')");
my $secret = 'member-value-c2VjcmV0';
my $verifier = 'verifier-b2Ygb25lIGNsaWVudCBhbmQgb2Ygbm8gb3RoZXI';
my $challenge = $node->safe_psql('postgres', "SELECT code_hash('$verifier')");
my $issued = $node->safe_psql('postgres', "SELECT code_issue('${\ grant(subject => $secret, code_challenge => $challenge)}', 600)");
my $issued_hash = $node->safe_psql('postgres', 'SELECT code_hash FROM authorizations');
my %variables = (
	code => $code, hash => $hash, expires => 1800000000,
	data => grant(subject => $secret, nonce => $secret),
	wrong_subject => qq({"client_id": "$secret", "subject": ["$secret"], "redirect_uri": "$secret"}),
	wrong_method => grant(code_challenge_method => $secret),
	wrong_list => qq({"client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["$secret", 1]}),
	wrong_claims => qq({"client_id": "c", "subject": "s", "redirect_uri": "r", "claims": ["$secret"]}),
	not_object => qq(["$secret"]), meta => qq({"by": "$secret"}), too_long => $secret x 20,
	issued => $issued, verifier => $verifier, wrong_verifier => $verifier =~ s/verifier/fierievr/r, meta_family => qq({"family_id": ["$secret"]}), large => qq({"by": "${\ ($secret x 200)}"}));

# A full life and every error, with the code, the hash and the grant as bound parameters.
my $put = 'SELECT code_put(code_hash(:code), :data::jsonb, :expires)';
my @answered = (
	[ 'put', $put ],
	[ 'get', 'SELECT * FROM code_get(code_hash(:code))' ]);
my @refused = (
	[ '23505 of a live code', $put, 'already exists' ],
	[ '55000', 'SELECT code_mark_consumed(code_hash(:code))', 'still live' ],
	[ '22023 subject', 'SELECT code_put(:hash, :wrong_subject::jsonb, :expires)', 'invalid grant' ],
	[ '22023 method', 'SELECT code_put(:hash, :wrong_method::jsonb, :expires)', 'invalid grant' ],
	[ '22023 list', 'SELECT code_put(:hash, :wrong_list::jsonb, :expires)', 'invalid grant' ],
	[ '22023 claims', 'SELECT code_put(:hash, :wrong_claims::jsonb, :expires)', 'invalid grant' ],
	[ '22023 data', 'SELECT code_put(:hash, :not_object::jsonb, :expires)', 'invalid grant' ],
	[ '22023 expires_at', 'SELECT code_put(:hash, :data::jsonb, 9223372036854775807)', 'invalid expires_at' ],
	[ '22023 code_hash', 'SELECT * FROM code_take(:too_long)', 'invalid code_hash' ],
	[ '22023 meta', 'SELECT code_mark_consumed(:hash, :not_object::jsonb)', 'invalid meta' ],
	[ '22004', 'SELECT code_put(:hash, NULL, :expires)', 'must not be null' ],
	[ '25006', "BEGIN READ ONLY;\nSELECT * FROM code_take(code_hash(:code));\nROLLBACK;", 'read-only' ],
	[ '42501', "SET ROLE nobody_special;\nSELECT * FROM code_take(code_hash(:code));", 'permission denied' ]);
my $redeem = q(SELECT * FROM code_redeem(code_hash(:issued), 'c', 'r', :verifier, NULL, :meta::jsonb));
my $complete = 'SELECT code_complete(code_hash(:issued), code_hash(:hash), :expires, :meta::jsonb)';
my @refused_redemptions = (
	[ '55000 of a live code', $complete, 'no tokens may be sent' ],
	[ '22023 meta of a redemption', $redeem =~ s/:meta/:not_object/r, 'invalid meta' ],
	[ '22023 large meta', $redeem =~ s/:meta/:large/r, 'invalid meta' ],
	[ '22023 family of the meta', $redeem =~ s/:meta/:meta_family/r, 'invalid meta' ],
	[ '25006 of a redemption', "BEGIN READ ONLY;\n$redeem;\nROLLBACK;", 'read-only' ],
	[ '42501 of a redemption', "SET ROLE nobody_special;\n$redeem;", 'permission denied' ],
	[ 'P0002', $complete =~ s/:issued/:wrong_verifier/r, 'no such authorization code' ],
	[ '22023 expires_in', 'SELECT code_issue(:data::jsonb, 601)', 'invalid expires_in' ]);
my @redemptions = (
	[ 'a redemption in a transaction', "BEGIN;\n$redeem;\nROLLBACK;" ],
	[ 'a completion', $complete ],
	[ 'a presentation that fails a check', $redeem =~ s/:verifier/:wrong_verifier/r ],
	[ 'a reuse', $redeem ]);
my @redeemed = (
	[ 'take', 'SELECT * FROM code_take(code_hash(:code))' ],
	[ 'second take', 'SELECT * FROM code_take(code_hash(:code))' ],
	[ 'mark', 'SELECT code_mark_consumed(code_hash(:code), :meta::jsonb)' ],
	[ 'replay', 'SELECT * FROM code_take(code_hash(:code))' ]);

sub answers
{
	my ($name, $sql) = @_;
	unlike(bound($node, $sql, %variables), qr/ERROR/, "$name is answered");
	return;
}

answers(@$_) for @answered;
for my $case (@refused, @refused_redemptions)
{
	my ($name, $sql, $message) = @$case;
	my $told = bound($node, $sql, %variables);
	like($told, qr/ERROR:.*\Q$message\E/, "$name is refused");
	unlike($told, qr/\Q$secret\E|\Q$hash\E|\Q$code\E|\Q$verifier\E|\Q$issued\E|\Q$issued_hash\E/, "$name tells no value");
}
answers(@$_) for @redeemed, @redemptions;
my $late = bound($node, $complete, %variables);
like($late, qr/ERROR:.*no tokens may be sent/, '55000 after a reuse is refused');
unlike($late, qr/\Q$secret\E|\Q$issued\E|\Q$issued_hash\E/, 'and tells no value');
bound($node, $put, %variables);    # 23505 of a redeemed code

is($node->safe_psql('postgres', 'SELECT count(*) FROM authorizations WHERE consumed_success AND reused_at IS NOT NULL'), 2, 'the whole lives were lived');
my $rows = $node->safe_psql('postgres', 'SELECT a::text FROM authorizations a');
like($rows, qr/\Q$hash\E/, 'the row holds the hash');
unlike($rows, qr/\Q$code\E|\Q$issued\E|\Q$verifier\E/, 'no column holds a code or a verifier');

$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;

sub files_with
{
	my ($text) = @_;
	my ($out, $err) = run_command([ 'grep', '-rlF', '-e', $text, $node->data_dir ]);
	return $out;
}
like(files_with($hash), qr/pg_wal/, 'the search sees what the WAL holds');
like(files_with($hash), qr/base/, 'the search sees what the tables hold');
like(files_with($issued_hash), qr/pg_wal/, 'also of the code of code_issue');
is(files_with($_), '', 'no file of the data folder holds the code, that of code_issue, or the verifier') for $code, $issued, $verifier;

my $log = slurp_file($node->logfile);
like($log, qr/authorization code already exists/, 'the log was written with the default settings');
unlike($log, qr/\Q$code\E|\Q$issued\E|\Q$verifier\E/, 'the log does not hold a code or a verifier');
unlike($log, qr/\Q$hash\E|\Q$issued_hash\E/, 'the log does not hold a hash');
unlike($log, qr/\Q$secret\E/, 'the log does not hold a value of the grant or the meta');

done_testing();
