-- one value in several spellings; values that other languages have none of
create schema spell;
create table spell.moments (at timestamptz primary key, code text unique, note text);
create table spell.stamps (at timestamp, day date, price money, primary key (at, day, price));
create table spell.prices (price money primary key, note text);
create table spell.doubles (at timestamptz, lapse interval, n numeric, code text unique, note text, primary key (at, lapse, n));
create table spell.ends (day date primary key, note text);
create table spell.numbers (n numeric, f float8, at timestamptz, primary key (n, f, at));
create table spell.words (word text primary key);
insert into spell.words values (''), ('a');
