-- defaults of domains, checks over casts, partial unique keys, references to periods, tables that cannot be served
create schema edges;
create domain edges.seven as int default 7;
create domain edges.above as edges.seven check (value > 0);
create domain edges.named as text default 'nobody' not null;
create table edges.domains (id int primary key, a edges.seven, b edges.above, c edges.named, d edges.seven default 8, note text);
create table edges.checks (
    id int primary key, a numeric check (a::int <= 5), b numeric check (b <= 5), c int check (c::numeric >= 1), d int check (d::text::int <= 9),
    e varchar(9) check (e::char(1) in ('a', 'b')), f varchar(9) check (f in ('a', 'b')), g numeric check (g::bigint >= 1 and g <= 3)
);
create table edges.partial (
    id int generated always as identity primary key, code text not null default 'main', gone boolean not null default false, kind text default 'it''s',
    rank int default -1, made timestamptz default now(), note text
);
create unique index partial_code on edges.partial (code) where not gone;
create unique index partial_kind on edges.partial (kind) where rank = -1;
create schema _transfers;
create table _transfers.lost (id int primary key);
create table edges.nothing ();
