-- names that have to be quoted, in SQL, in URLs or in both
create schema "Odd Names";
create table "Odd Names"."Order Items" (
    "select" int primary key,
    "Unit Price" numeric(8, 2) check ("Unit Price" >= 0),
    "größe" text,
    "a.b" text,
    "a_b" text,
    "x,y" int,
    "order" int, "limit" int, status text, version int, deleted boolean, filter text, fields text, sort text, page int,
    is_active text, created_at text, tenant_id int, class text, "from" text, "__slots__" text,
    x int, t int, i int, k int, g int, "new" int, "old" int, given int, log int, anon_1 int, "with""quote" text, "%s" text, ":colon" text
);
comment on column "Odd Names"."Order Items"."Unit Price" is 'What one costs';
create table "Odd Names"."a/b%c.d" (id text primary key, "Order Item" int references "Odd Names"."Order Items");
create table "Odd Names"."grüße" (id int primary key, "user" int references "Odd Names"."Order Items");
create table "Odd Names"."UPPER" ("ID" int primary key);
create table "Odd Names".upper ("ID" int primary key);
create table "Odd Names"."select" ("export" text, "import" text, primary key ("export", "import"));
create table "Odd Names".order_status (id int primary key);
create table "Odd Names"."order" (id int primary key, version int not null default 1);
insert into "Odd Names"."Order Items" ("select", "Unit Price", "größe", "a.b", "x,y", x, t) values (1, 9.99, 'groß', 'dotted', 3, 4, 5), (2, 1, 'klein', null, null, 1, 2);
insert into "Odd Names"."a/b%c.d" values ('export', 1), ('a,b/c%', 2);
insert into "Odd Names"."grüße" values (1, 1);
insert into "Odd Names"."select" values ('a,b', 'c/d'), ('query', 'history');
