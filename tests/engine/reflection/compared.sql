-- types that compare, in keys, filters and groups
create schema cmp;
create type cmp.mood as enum ('sad', 'happy');
create domain cmp.feeling as cmp.mood;
create type cmp.pair as (one int, two text);
create type cmp.loose as (one int, two json);
create table cmp.things (
    id int primary key, mood cmp.mood, feeling cmp.feeling, fixed char(3), stamp timestamp, instant timestamptz(0), lapse interval, clock timetz,
    bits bit(3), net cidr, host inet, mac macaddr, ident name, span int4range, price money, lsn pg_lsn, num oid, tid xid, letter "char", pair cmp.pair,
    loose cmp.loose, spot point, doc json, table_ regclass, chunks bytea[], blob bytea, vec tsvector
);
insert into cmp.things values
    (1, 'sad', 'happy', 'ab', '2026-01-31 10:30', '2026-01-31 10:30+00', '90 minutes', '10:00+02', '101', '10.0.0.0/8', '10.0.0.1', '08:00:2b:01:02:03',
     'a', '[1,5)', 5, '0/10', 10, '7', 'a', '(1,x)', '(1,"{}")', '(1,2)', '{}', 'cmp.things', '{"\\x01"}', '\x01fffe', 'a b'),
    (2, 'happy', 'happy', 'b', '2026-02-28 10:45', '2026-02-28 10:45+00', '2 days', '09:00+02', '001', '9.0.0.0/8', '10.0.0.2', '08:00:2b:01:02:02',
     'b', '[1,3)', -1.5, '0/9', 9, '8', 'b', '(0,"a, b")', '(1,"{}")', '(1,2)', '{}', 'pg_class', '{}', '\x', 'c'),
    (3, 'happy', null, 'b', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
create table cmp.k_bytea (k bytea primary key, v text);
create table cmp.k_oid (k oid primary key, v text);
create table cmp.k_pair (k cmp.pair primary key, v text);
create table cmp.k_letter (k "char" primary key, v text);
create table cmp.k_feeling (k cmp.feeling primary key, v text);
create table cmp.k_lsn (k pg_lsn, v text, primary key (k));
create table cmp.k_docb (k jsonb primary key, v text);
create table cmp.k_ints (k int[] primary key, v text);
