# Where a worker commits a take, one a call and the resident one, a trigger has the rights of the table's owner, at once and
# at the commit, and no settings of the caller's. What it sets is not for the next one, and does not keep the spend from
# being on disk.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

# The WAL writer would soon flush the writes that are to be lost.
my $node = new_primary('trigger_settings', 'synchronous_commit = off', 'wal_writer_delay = 10s', 'autovacuum = off');
my %ways = (
	'alone' => "SELECT status FROM code_take('%s')",
	'in a transaction' => "BEGIN;\nSELECT status FROM code_take('%s');\nCOMMIT");

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# The second trigger fires at the commit, where the first one defers it.
value(q(
	CREATE ROLE keeper;
	ALTER TABLE authorizations OWNER TO keeper;
	CREATE TABLE seen (what text, who name DEFAULT current_user, path text DEFAULT current_setting('search_path'));
	CREATE TABLE audit (code_hash text);
	GRANT ALL ON seen, audit TO keeper;
	CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.seen VALUES ('at the commit');
			PERFORM set_config('role', 'postgres', true);
			RETURN NULL;
		EXCEPTION WHEN OTHERS THEN INSERT INTO public.seen VALUES ('at the commit ' || SQLSTATE); RETURN NULL;
		END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit DEFERRABLE FOR EACH ROW EXECUTE FUNCTION late()));

# Makes a trigger for the time of some work.
sub with_trigger
{
	my ($name, $options, $body, $work) = @_;
	value(qq(CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body; RETURN NEW; END \$\$;
		CREATE $name UPDATE ON authorizations $options FOR EACH ROW EXECUTE FUNCTION act()));
	$work->();
	value('DROP FUNCTION act CASCADE');
	return;
}
my @at_once = ('TRIGGER act AFTER', '');
my @deferred = ('CONSTRAINT TRIGGER act AFTER', 'DEFERRABLE INITIALLY DEFERRED');

my $note = q(INSERT INTO public.seen VALUES (TG_WHEN || ' ' || current_setting('work_mem')); PERFORM set_config('work_mem', '77MB', false));
my $defer = q(SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.audit VALUES (NEW.code_hash));
my @rights = (
	[ 'before', 'TRIGGER act BEFORE', '', $note, 'BEFORE 4MB keeper pg_catalog, pg_temp' ],
	[ 'after', @at_once, $note, 'AFTER 4MB keeper pg_catalog, pg_temp' ],
	[ 'deferred', @deferred, $note, 'AFTER 4MB keeper pg_catalog, pg_temp' ],
	[ 'at the commit', @at_once, $defer, 'at the commit 42501 keeper "$user", public' ]);

sub rights
{
	my ($mode, $name, @trigger) = @_;
	my $seen = pop @trigger;
	with_trigger(@trigger, sub {
		for my $way (sort keys %ways)
		{
			put($node, "$mode $name $way $_") for 1, 2;
			my $takes = join ";\n", map { sprintf $ways{$way}, "$mode $name $way $_" } 1, 2;
			is(value("SET search_path = public, pg_temp; SET work_mem = '33MB'; $takes"), "ok\nok", "$mode: two takes, $name, $way");
		}
	});
	is(value(q(SELECT string_agg(DISTINCT concat_ws(' ', what, who, path), ', '), count(*) FROM seen)), "$seen|4",
		"$mode: a trigger has the owner's rights and no caller's settings, $name");
	value('TRUNCATE seen, audit');
	return;
}

sub crash { $node->stop('immediate'); $node->start; return; }

sub flushing
{
	my ($mode, $name, $is_local, @trigger) = @_;
	with_trigger(@trigger, "PERFORM set_config('synchronous_commit', 'off', $is_local)", sub {
		for my $way (sort keys %ways)
		{
			my $alive = 0;
			for my $round (1 .. 3)
			{
				my $code = "$mode $name $is_local $way $round";
				put($node, $code);
				my $answer = value(sprintf $ways{$way}, $code);
				crash();
				$alive++ unless $answer eq 'ok' && take($node, $code) eq 'error';
			}
			is($alive, 0, "$mode: a trigger turns synchronous_commit off, $name, local $is_local: no take came back, $way");
		}
		my $code = "$mode $name $is_local by hand";
		put($node, $code);
		value("UPDATE authorizations SET consumed_at = now() WHERE code_hash = '$code'");
		crash();
		is(take($node, $code), 'ok', 'an UPDATE by hand is lost');
	});
	return;
}

for my $mode ('one a call', 'resident')
{
	# A queue with a constraint that an administrator added is not published.
	$node->safe_psql('postgres', 'ALTER TABLE authorization_queue ' . ($mode eq 'resident' ? 'DROP CONSTRAINT mine' : 'ADD CONSTRAINT mine CHECK (true)'));
	$node->restart;
	rights($mode, @$_) for @rights;
	for my $is_local ('true', 'false')
	{
		flushing($mode, 'at once', $is_local, @at_once);
		flushing($mode, 'deferred', $is_local, @deferred);
	}
}

$node->stop;
done_testing();
