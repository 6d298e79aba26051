# What a presentation has answered is on disk, whatever synchronous_commit says: the server is crashed right after the
# answer, many times; no code comes back, no mark, replay or reuse is forgotten, and no revocation that the presentation
# made. An UPDATE by hand, which has no such promise, is lost the same way: it shows that the crash does lose unflushed
# writes.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my $rounds = 6;
my %ways = (
	'a statement of its own' => 'SELECT * FROM %s',
	'a transaction' => 'BEGIN; SELECT * FROM %s; COMMIT',
	'a transaction that it joins' => "SET attesto_codes.take_in_transaction = 'join'; BEGIN; SELECT * FROM %s; COMMIT");

my $meta = q(NULL, NULL, '{"family_id": "of the meta"}');
my ($take, $redeem, $mark) = ("code_take('%s')", "code_redeem('%s', 'c', 'r')", q(code_mark_consumed('%1$s', '{"family_id": "mark of %1$s"}')));
my $noted = 'replayed_at > consumed_at';
my $revoked = q(NOT EXISTS (SELECT FROM unnest(ARRAY[code_hash, family_id, consumed_meta->>'family_id']) name
	WHERE name IS NOT NULL AND NOT code_family_revoked(name)));
# What is done before, the presentation, its answer, what its row tells after the crash, and the settings of its put. A code that
# a crash spends may lose its spend, and nothing else.
my %presentations = (
	'a take' => [ [], $take, 'ok|', 'consumed_at IS NOT NULL' ],
	'a redeem' => [ [], $redeem, 'ok|', 'consumed_at IS NOT NULL' ],
	'a redeem with meta' => [ [], "code_redeem('%s', 'c', 'r', $meta)", 'ok|', q(consumed_success AND consumed_meta->>'family_id' = 'of the meta') ],
	'a redeem that fails' => [ [], "code_redeem('%s', 'd', 'r')", 'error|client_mismatch|', 'consumed_at = replayed_at' ],
	'a replay by take' => [ [$take], $take, 'error|', $noted ],
	'a replay by redeem' => [ [$redeem], $redeem, 'error|spent|', "$noted AND $revoked" ],
	'a reuse by redeem' => [ [$redeem, $mark], $redeem, 'consumed|', "reused_at IS NOT NULL AND $revoked" ],
	'a revocation after a reuse' => [ [$take, $mark, $take], $redeem, 'consumed|', $revoked ],
	# It has nothing more to revoke, but the revocations that it finds are not on disk.
	'a reuse after revocations' => [ [$redeem, $mark, $take, "set_config('synchronous_commit', 'off', false)",
		map { "code_revoke_family('$_%1\$s')" } '', 'of ', 'mark of '], $redeem, 'consumed|', "reused_at IS NOT NULL AND $revoked" ],
	'a replay of a code of a run' => [ [$redeem], $redeem, 'error|spent|', "$noted AND $revoked", 'SET attesto_codes.codes_survive_crash = off' ],
	'a reuse of a code of a run' => [ [$redeem, $mark], $redeem, 'consumed|', "reused_at IS NOT NULL AND $revoked", 'SET attesto_codes.codes_survive_crash = off' ]);

# The WAL writer would flush the UPDATE by hand before long.
my $node = new_primary('crash', 'synchronous_commit = off', 'wal_writer_delay = 10s', 'autovacuum = off', 'restart_after_crash = on');

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub kill_server
{
	my $pid = $node->{_pid};
	$node->kill9;
	wait_until('the postmaster is gone', sub { !kill 0, $pid });
	# It starts when the last process of the old server has seen that.
	wait_until('the server starts', sub { $node->start(fail_ok => 1) });
	return;
}

my @crashes = (sub { $node->stop('immediate'); $node->start; }, sub { kill_backend($node) }, \&kill_server);

sub rounds
{
	my ($preload) = @_;
	for my $way (sort keys %ways)
	{
		for my $name (sort keys %presentations)
		{
			my ($before, $call, $answer, $written, $setting) = @{ $presentations{$name} };
			my @lost;
			for my $round (1 .. $rounds)
			{
				my $code = "$preload, $way, $name, $round";
				value(join '; ', 'SET synchronous_commit = on', $setting // (), "SELECT code_put('$code', '${\ grant(family_id => qq(of $code))}', 4102444800)",
					map { sprintf "SELECT * FROM $_", $code } @$before);
				my $told = value("SET synchronous_commit = ${\ ($round % 2 ? 'off' : 'on')}; " . sprintf($ways{$way}, sprintf $call, $code));
				$crashes[ $round % @crashes ]->();
				push @lost, "$round: $told" unless $told =~ /^\Q$answer\E/
				  && value("SELECT $written FROM authorizations WHERE code_hash = '$code'") eq 't'
				  # Who had ok may go on, and nobody else.
				  && error_of($node, "SELECT code_complete('$code')") eq ($answer eq 'ok|' ? '' : '55000')
				  && value("SELECT status FROM code_take('$code')") =~ /^(error|consumed)$/;
			}
			is("@lost", '', "$preload, in $way: $name survives $rounds crashes");
		}
	}
	return;
}

rounds('without preload');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'");
$node->restart;
rounds('with preload');

put($node, 'by hand');
value("SET synchronous_commit = off; UPDATE authorizations SET consumed_at = now() WHERE code_hash = 'by hand'");
$crashes[0]->();
is(take($node, 'by hand'), 'ok', 'an UPDATE by hand is lost');

# A code that a crash has spent, whether its redemption was lost or nobody had presented it.
for my $code ('redeemed', 'live')
{
	value("SET attesto_codes.codes_survive_crash = off; SET synchronous_commit = on; SELECT code_put('$code of a run', '${\ grant()}', 4102444800)");
	is(value("SELECT * FROM code_redeem('$code of a run', 'c', 'r', $meta)"),
		'ok||{"nonce": null, "scope": [], "claims": {}, "subject": "s", "dpop_jkt": null, "resource": [], "client_id": "c", "family_id": null, "redirect_uri": "r", "code_challenge": null, "code_challenge_method": null}|4102444800|',
		'a code of a run is redeemed') if $code eq 'redeemed';
	$crashes[0]->();
	is(value("SELECT consumed_at IS NULL FROM authorizations WHERE code_hash = '$code of a run'"), 't', "$code: its row does not tell that it is spent");
	is(value("SELECT * FROM code_redeem('$code of a run', 'c', 'r', $meta)"), 'error|spent|||', "$code: it is") for 1 .. 2;
	is(value("SELECT * FROM code_redeem('$code of a run', 'd', 'r')"), 'error|client_mismatch|||', "$code: a check fails before that");
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT code_complete('$code of a run', 'token of $code', 4102444800)");
	like($err, qr/ERROR:  55000: no tokens may be sent.*crash/s, "$code: a completion raises, and says why");
	is(value("SELECT code_mark_consumed('$code of a run')"), 'replayed', "$code: a mark warns");
	is(error_of($node, "SELECT code_complete('$code of a run')"), '55000', "$code: it stays closed after that");
	is(value("SELECT status FROM code_redeem('$code of a run', 'c', 'r'); SELECT count(*) FROM authorization_revoked_families WHERE family_id = '$code of a run'"),
		"consumed\n0", "$code: and nothing is revoked");
}

done_testing();
