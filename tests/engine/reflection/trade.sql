-- keys, references, checks, views and what is beside tables
create schema trade;
create extension btree_gist;
create type trade.state as enum ('open', 'paid', 'void');
create table trade.customers (
    code text primary key check (code ~ '^[A-Z0-9,/% ä]+$'),
    name varchar(80) not null,
    email text unique,
    credit numeric(12, 2) not null default 0 check (credit >= 0 and credit <= 1000000),
    tier text not null default 'basic' check (tier in ('basic', 'gold', 'it''s')),
    referred_by text references trade.customers
);
comment on table trade.customers is 'Who buys';
comment on column trade.customers.credit is 'How much may be owed';
create table trade.orders (
    id bigserial primary key,
    customer text not null references trade.customers on update cascade,
    state trade.state not null default 'open',
    placed date not null default current_date,
    lock_version int not null default 1,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    changed_by text
);
create unique index one_open_order on trade.orders (customer) where state = 'open' and deleted_at is null;
create table trade.lines (
    order_id bigint references trade.orders on delete cascade,
    line_no int,
    sku text not null,
    qty int not null check (qty > 0),
    price numeric(10, 2) not null,
    total numeric generated always as (qty * price) stored,
    primary key (order_id, line_no)
);
create table trade.shipments (
    id uuid primary key default gen_random_uuid(),
    order_id bigint,
    line_no int,
    weight real check (weight > 0),
    foreign key (order_id, line_no) references trade.lines (order_id, line_no)
);
create table trade.staff (
    id smallint primary key,
    name text not null,
    boss_id smallint references trade.staff,
    mentor_id smallint references trade.staff (id) on delete set null
);
create table trade.bookings (
    id serial primary key,
    room int not null,
    during tstzrange not null,
    constraint no_two_bookings exclude using gist (room with =, during with &&)
);
create table trade.events (id int, day date, what text, primary key (id, day)) partition by range (day);
create table trade.events_2026 partition of trade.events for values from ('2026-01-01') to ('2027-01-01');
create table trade.events_rest partition of trade.events default;
create table trade.journal (at timestamptz default now(), what text);
create view trade.gold as select code, name, email, tier from trade.customers where tier = 'gold';
create view trade.totals as select order_id, sum(total) as total, count(*) as lines from trade.lines group by order_id;
create materialized view trade.sums as select customer, count(*) as n from trade.orders group by customer;
create table trade.secrets (id int primary key, open text, closed text);
insert into trade.customers (code, name, email, tier) values ('ACME', 'Acme', 'a@acme.example', 'gold');
insert into trade.customers (code, name, referred_by) values ('A,/% ä', 'Odd', 'ACME'), ('BOB', 'Bob', 'ACME');
insert into trade.orders (customer) values ('ACME'), ('BOB');
insert into trade.lines (order_id, line_no, sku, qty, price) values (1, 1, 'A', 2, 1.50), (1, 2, 'B', 1, 10), (2, 1, 'A', 1, 1.50);
insert into trade.shipments (order_id, line_no, weight) values (1, 1, 0.1), (1, 2, 2.5);
insert into trade.staff values (1, 'Ann', null, null), (2, 'Ben', 1, 1), (3, 'Cat', 1, 2);
insert into trade.bookings (room, during) values (1, '[2026-01-01, 2026-01-02)');
insert into trade.events values (1, '2026-03-01', 'begun'), (2, '2030-01-01', 'later');
insert into trade.journal (what) values ('one'), ('two'), ('two');
refresh materialized view trade.sums;
